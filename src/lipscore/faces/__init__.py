"""Face detectors behind one interface (`lipscore.types.Detector`), and what is done with their boxes."""
