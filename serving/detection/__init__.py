"""From bytes to an answer, without HTTP.

image_reader   bytes → decoded picture, faces, the network's inputs
detector       a picture's file → the model's answer, recorded
tensors        tensors of the standard protocols → the model's answer, recorded
routing        shadow and canary: which model answers a request
responses      the answer and its JSON
bodies         the types of that JSON
recording      answers and switches → rows of the observation database
overlay        draws heatmap, boxes and labels on the picture
"""
