"""What touches hardware: one module per platform, behind the contract in contract.py."""
