"""What a Jetson says about itself, read by the host; the device sends it as raw text."""
