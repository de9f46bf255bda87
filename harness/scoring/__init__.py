"""Token rows become numbers: packed, each prompt once, for training, anchors and oracles alike."""
