"""`ilf push`: what a run made, in the layout of the Hugging Face hub, as a folder or on the hub itself."""
