"""Speech in and out: what listens, what speaks, and the sound between.

Pure logic and worker processes; who is talking to whom, and what is said, is decided above.
"""
