"""The table of images, the indexes that its lists are read from, and their orders."""

from graphql_server import tallies
from graphql_server.listings import Order, Table
from graphql_server.models import ImageInfo, columns_of

TABLE = Table(
    name="image_info",
    columns=columns_of(ImageInfo, without="unique_sha256"),
    parent="dataset_info_pk",
    indexes={
        (True, None): "image_info_dataset_pk",
        (True, "confidence"): "image_info_dataset_confidence",
        (True, "original_file_name"): "image_info_dataset_name",
        (False, None): "PRIMARY",
        (False, "confidence"): "image_info_confidence",
        (False, "original_file_name"): "image_info_name",
        (True, "model_was_wrong"): "image_info_dataset_wrong",
        (False, "model_was_wrong"): "image_info_wrong",
    },
    tally=tallies.read,
)
CREATED = Order("CREATED_AT")
CONFIDENCE = Order("CONFIDENCE", "confidence", float)
NAME = Order("ORIGINAL_FILE_NAME", "original_file_name")
