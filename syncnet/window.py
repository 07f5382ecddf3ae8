"""SyncNet's window: five frames at 25 a second, and twenty MFCC frames at 100 a second."""

N_FRAMES = 5  # lip frames in a window
N_MFCC = 20  # MFCC frames in a window
MFCC_PER_FRAME = 4  # 100 MFCC and 25 frames a second
SAMPLES_PER_FRAME = 640
