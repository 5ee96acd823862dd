"""The web dashboard: a JSON API, a live event stream and a single page, all served from this machine."""

from qres_host.web.app import create_app
from qres_host.web.server import ServerHandle, open_browser, start_server

__all__ = ["ServerHandle", "create_app", "open_browser", "start_server"]
