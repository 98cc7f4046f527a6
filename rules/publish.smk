rule publish_all:
    input: []
