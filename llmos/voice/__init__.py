"""The voice terminal: the client of ``/v1/realtime`` that has the microphone and the speaker."""
