"""The faces that Wav2Lip changes: found, cut out, recognised and pasted back."""
