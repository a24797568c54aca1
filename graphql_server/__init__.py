"""A GraphQL server for datasets of food photos and the turns that set them upright."""
