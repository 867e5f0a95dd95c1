"""What tools reach of the machine they run on: granted folders, the clipboard, its state."""
