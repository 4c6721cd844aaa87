"""KV policies: one file and one `kv_policy` decorator each; importing the package registers nothing by itself."""
