"""What an operator measures: metrics for Prometheus, traces for OpenTelemetry, and the state of every part."""
