"""Signal: what is done to continuous brain signal, and how a stretch of it becomes what an encoder sees."""
