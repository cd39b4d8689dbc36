"""The command line: one module per noun, loaded when its command is called; nothing but click at start."""
