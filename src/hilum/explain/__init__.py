"""Why a network says what it says: maps of what its score rests on, and how far to believe them.

heat        a map over one image, cut out of its square
occlusion   hide a part, look what the score loses: any bundle, no PyTorch
activation  what each place adds to a classifier's logit: its bundle, no PyTorch
asked       which score of a pipeline is explained, of which model
explainer   whose score is explained, and who finds what stands beside it
gradients   Grad-CAM and HiResCAM of a network in PyTorch
sanity      the map of a network whose weights were randomised must change
pointing    does the hottest point lie in a true box: a rate beside chance
picture     a map beside what was found and what readers drew
folder      maps of many radiographs, and the game on those with boxes
writer      the map of each image of a run: `--write explain`

A map shows what moves the score, not where a disease is, and not that the reason is a good one.
"""
