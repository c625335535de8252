"""Captions of the figures in LEADERBOARD.md, by kind: the first word of the file's name."""

CAPTIONS = {
    "sheet": "One rendered person under each emotion, one method per line; above them the ground "
    "truth.",
    "learning": "Metrics against the length of the training, with 95 % intervals over faces.",
    "frontier": "Strength trades recognition for identity: share of recognised targets against "
    "identity distance on the paths from neutral to each emotion, one curve a method.",
    "gamut": "Label distribution over the gamut, as in figures 1 and 3 of GANmut: the classifier's "
    "mean softmax over edited test faces. Colour: most probable emotion; shade: its probability. "
    "Marks: learned directions or modes.",
    "faces": "The same gamut as edits of one rendered person.",
    "strip": "From neutral to the emotion in ten steps, as in figure 4 of GANmut: one rendered "
    "person, one method per line.",
    "wheel": "Emotion wheel, as in figures 9 to 11 of GANmut's supplement: angles around, radii "
    ".33, .66 and 1.",
    "mixtures": "Codes that mix two, three and four emotions the most evenly, and two codes far "
    "apart that show the same mixture: one rendered person, and the classifier's mean softmax over "
    "test faces, as in section 5.4 of GANmut.",
    "random": "Random codes on four rendered people, as in figures 6 to 8 of GANmut's supplement.",
    "styles": "Random styles, one a line, the same latents for all emotions, as in figures 12 and "
    "13 of GANmut's supplement.",
    "transfer": "The action units of other faces on one rendered person, as in figures 2, 3 and 5 "
    "of EF-GAN's supplement.",
    "sweep": "Single action units from 0 to 1, the others as in neutral.",
    "warped": "The same sweep before new pixels are drawn: the source moved by the flow alone, as "
    "in figures 6 and 11 of DefGAN.",
    "change": "Absolute difference between edit and source, times four, as in figures 5, 13 and 14 "
    "of DefGAN.",
    "flow": "Flow: an arrow from each pixel to the position that its colour is taken from.",
    "boxes": "The regions that the local branches edit.",
    "tsne": "Real faces (grey) and edits under the evaluation prior (coloured by the classifier's "
    "prediction) in one t-SNE embedding of the classifier's features per method, as in figure 5 of "
    "GANmut.",
}
