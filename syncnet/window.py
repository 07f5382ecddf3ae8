"""SyncNet's window and its rates, which the network fixes.

A window consists of five video frames at 25 per second, and of the twenty MFCC frames at 100 per second from the same
0.2 s of 16 kHz audio (Chung and Zisserman 2016, section 2; joonson/syncnet_python SyncNetInstance.py, evaluate).
"""

from lipscore.media.rates import FRAME_RATE, SAMPLE_RATE

N_FRAMES = 5  # lip frames in a window
N_MFCC = 20  # MFCC frames in a window
MFCC_PER_FRAME = 4  # 100 MFCC and 25 frames a second
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
VSHIFT = 15  # the largest shift between lips and audio, in frames: demo_syncnet.py --vshift

__all__ = ["FRAME_RATE", "MFCC_PER_FRAME", "N_FRAMES", "N_MFCC", "SAMPLES_PER_FRAME", "SAMPLE_RATE", "VSHIFT"]
