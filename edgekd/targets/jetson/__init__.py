"""What a Jetson says about itself, read: who it is, its power mode and clocks, tegrastats, and power. Parsers never raise."""
