"""What `qres bench predict` compares with: floats, libraries, models fitted offline; each from four last changes."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Predict = Callable[[Floats], Floats]
LAGS = 4
_FIRST = 200  # rows whose spread scales the changes for peers that need it


def lagged(d: Floats, lags: int) -> Floats:
    """Row t: the `lags` changes before it, newest first, of each channel; (row, channel, lag)."""
    out = np.zeros((*d.shape, lags))
    for lag in range(lags):
        out[lag + 1 :, :, lag] = d[: -lag - 1]
    return out


def changes(x: Floats) -> Floats:
    """The change to each row; 0 of the first."""
    return np.diff(x, axis=0, prepend=x[:1])


def before(x: Floats) -> Floats:
    """The row before each row; the first stands for itself."""
    return np.concatenate((x[:1], x[:-1]))


def _fitted(features: Floats, targets: Floats, half: int) -> Floats:
    """Least squares on the first half, with a small ridge."""
    a = features[LAGS + 1 : half]
    scale = a.std(0) + 1e-9
    a = a / scale
    w = np.linalg.solve(a.T @ a + 1e-6 * len(a) * np.eye(a.shape[1]), a.T @ targets[LAGS + 1 : half])
    return np.asarray(features / scale @ w)


def offline_ar(x: Floats) -> Floats:
    """AR on changes and the level, of each channel alone, fitted on the first half."""
    d, held, half = changes(x), before(x), len(x) // 2
    lags, one = lagged(d, LAGS), np.ones((len(x), 1))
    center = x[:half].mean(0)
    columns = [
        _fitted(np.concatenate((lags[:, c], held[:, [c]] - center[c], one), 1), d[:, [c]], half)
        for c in range(x.shape[1])
    ]
    return held + np.concatenate(columns, 1)


def offline_var(x: Floats) -> Floats:
    """VAR on changes and levels of all channels, fitted on the first half."""
    d, held, half = changes(x), before(x), len(x) // 2
    features = np.concatenate((lagged(d, LAGS).reshape(len(x), -1), held - x[:half].mean(0), np.ones((len(x), 1))), 1)
    return held + _fitted(features, d, half)


def float_rls(x: Floats) -> Floats:
    """Textbook recursive least squares in float64, forgetting 0.9995, of each channel alone; never reset."""
    d, held = changes(x), before(x)
    out = held.copy()
    for c in range(x.shape[1]):
        f_all = lagged(d[:, [c]], LAGS)[:, 0]
        w, p = np.zeros(LAGS), np.eye(LAGS) * 1e3
        with np.errstate(all="ignore"):
            for t in range(1, len(x)):
                f = f_all[t]
                out[t, c] += w @ f
                pf = p @ f
                gain = pf / (0.9995 + f @ pf)
                w += gain * (d[t, c] - w @ f)
                p = (p - np.outer(gain, pf)) / 0.9995
    return out


def _river(make: Callable[[], Any]) -> Predict:
    def predict(x: Floats) -> Floats:
        d, held = changes(x), before(x)
        scale = d[:_FIRST].std(0) + 1e-9
        out = held.copy()
        lags = lagged(d / scale, LAGS)
        for c in range(x.shape[1]):
            model = make()
            for t, row in enumerate(lags[:, c].tolist()):
                named = dict(enumerate(row))
                out[t, c] += model.predict_one(named) * scale[c]
                model.learn_one(named, d[t, c] / scale[c])
        return out

    return predict


def _snarimax(x: Floats) -> Floats:
    series = importlib.import_module("river.time_series")
    out = before(x)
    scale = changes(x)[:_FIRST].std(0) + 1e-9
    for c in range(x.shape[1]):
        model = series.SNARIMAX(p=LAGS, d=1, q=0)
        first = float(x[0, c])
        for t, value in enumerate(((x[:, c] - first) / scale[c]).tolist()):
            if t > LAGS + 1:
                out[t, c] = model.forecast(horizon=1)[0] * scale[c] + first
            model.learn_one(value)
    return out


def float_lstm(x: Floats) -> Floats:
    """A float LSTM of 16 units over standardized changes of all channels (PyTorch), trained on the first half."""
    torch = importlib.import_module("torch")
    torch.manual_seed(1)
    d, held, half = changes(x), before(x), len(x) // 2
    scale = d[:half].std(0) + 1e-9
    z = torch.tensor(np.clip(d / scale, -16, 16), dtype=torch.float32)
    cell = torch.nn.LSTM(x.shape[1], 16, batch_first=True)
    head = torch.nn.Linear(16, x.shape[1])
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=0.003)
    window = 64
    for _ in range(5):
        for begin in range(0, half - window - 1, window):
            part = z[begin : begin + window + 1]
            found = head(cell(part[None, :-1])[0])[0]
            loss = ((found - part[1:]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        found = head(cell(z[None, :-1])[0])[0].double().numpy()
    out = held.copy()
    out[1:] += found * scale
    return out


def peers() -> tuple[dict[str, Predict], list[dict[str, str]]]:
    """Every peer that can run, by name, and those that cannot with the reason."""
    found: dict[str, Predict] = {"AR, offline": offline_ar, "VAR, offline": offline_var, "RLS, float": float_rls}
    skipped = []
    if importlib.util.find_spec("river"):
        linear, scaling = (importlib.import_module(f"river.{name}") for name in ("linear_model", "preprocessing"))
        found["river LinearRegression"] = _river(lambda: scaling.StandardScaler() | linear.LinearRegression())
        found["river PARegressor"] = _river(lambda: scaling.StandardScaler() | linear.PARegressor(C=0.01, mode=1))
        found["river SNARIMAX"] = _snarimax
    else:
        skipped.append({"model": "river", "reason": "the package river is not installed"})
    if importlib.util.find_spec("torch"):
        found["LSTM, float"] = float_lstm
    else:
        skipped.append({"model": "LSTM, float", "reason": "PyTorch is not installed: pip install torch"})
    return found, skipped
