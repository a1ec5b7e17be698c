"""From bytes to an answer, without HTTP.

pictures   bytes → decoded picture, faces, the network's inputs
detect     a picture's inputs → the model's answer, recorded
overlay    the heatmap on the picture
results    what is answered, and its JSON
"""
