"""SyncNet's window, and the rates that it counts in: every number here is fixed by the network.

Five frames at 25 a second lie beside twenty MFCC frames at 100 a second, of audio at 16 kHz (Chung and Zisserman 2016,
section 2; joonson/syncnet_python SyncNetInstance.py, evaluate).
"""

from lipscore.media.rates import FRAME_RATE, SAMPLE_RATE

N_FRAMES = 5  # lip frames in a window
N_MFCC = 20  # MFCC frames in a window
MFCC_PER_FRAME = 4  # 100 MFCC and 25 frames a second
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
VSHIFT = 15  # frames to either side at which lips and audio are compared: demo_syncnet.py --vshift

__all__ = ["FRAME_RATE", "MFCC_PER_FRAME", "N_FRAMES", "N_MFCC", "SAMPLES_PER_FRAME", "SAMPLE_RATE", "VSHIFT"]
