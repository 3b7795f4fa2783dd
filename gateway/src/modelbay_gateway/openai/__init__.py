"""The OpenAI surface: ``/v1/models``, chat and text completions, embeddings, images, rerank."""
