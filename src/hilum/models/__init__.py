"""Networks in PyTorch: a batch in, a loss dict or predictions out, raw heads by name.

model       the interface: Model, Batch, Prediction, Targets
ranks       processes that train together: sums over their parts of a batch
options     settings of each kind, checked when read: the registry of networks
registry    settings -> the network
weights     weights from elsewhere: runs, bundles, files; torchvision: its names in ours
folded      batch norms that an exporter folded away, made trainable again
encoder     encoders of the studies, on timm; pretrained weights from packages
dilated     encoders whose last stages keep their size
precision   what stays in fp32 under a CPU's bf16
losses      focal, box, mask, class losses; the unknown costs nothing
dense       what detectors on anchors share
bifpn       the neck of EfficientDet
retinanet, yolo, two_stage, detr, opacity_net    detectors
classifier, segmenter    image classes and findings; masks
baselines   torchvision's RetinaNets
"""
