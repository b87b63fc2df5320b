"""Which strategy fits the data, why, and at what cost: measured, forecast, and held to account."""
