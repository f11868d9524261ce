"""Image, boxes and masks move together; seeded. Knows core only.

sample      what is augmented
draws       random numbers of the studies' distributions
geometry    affine maps, the 8-point rule, fields
spatial     steps that move things: rotation, scale, flips, distortions
intensity   steps that change grey values
mixing      mix-up and mosaic: several samples -> one
policy      the named policies
"""
