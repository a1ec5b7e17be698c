"""Models on trial beside the live one: a shadow that answers nobody, a canary that answers a share.

shadow   a sample of the answered pictures, looked at again by another model in another process
canary   a share of the clients is answered by the candidate, the live model stands behind it
"""
