"""The `prepare` stage: original pictures to prepared ones, split and without duplicates.

listing      find the originals: class folders, split folders or a table
folders      entries that are ignored or refused in folders of pictures
split_names  names that data sets give their splits
splitting    which split and which file name each original gets, before any is read
images       one original → one prepared file and one row, on all cores
hashing      hashes of equal and of similar pictures
duplicates   which duplicates are removed
minimum      which groups move so that every class has its minimum in every split
presence     checks that every class is in every split
summary      reports/prepare.json
"""
