"""Find, cut out, recognise and paste back the faces that Wav2Lip changes."""
