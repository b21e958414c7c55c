package plan

import "strings"

// SaysKV2 reports whether the path holds the data/ or metadata/ element of a KV
// engine of version 2 after a mount, so that nobody need be asked.
func SaysKV2(path string) bool {
	return strings.HasSuffix(path, "/metadata") || strings.Contains(path, "/data/") || strings.Contains(path, "/metadata/")
}

// Path gives the path that is sent for one below mount, both without slashes at
// the ends: for version 2 with data/ after the mount or, for a list, metadata/,
// unless it is there already; else as it is.
func (k KVRule) Path(op Op, mount, path string) string {
	switch {
	case k != KV2:
		return path
	case op == OpList:
		return insertMetadata(mount, path)
	}
	return insertData(mount, path)
}

// insertMetadata puts metadata/ after the mount, where version 2 lists; data/
// has no list of its own.
func insertMetadata(at, path string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, at), "/")
	if rest == "metadata" || strings.HasPrefix(rest, "metadata/") {
		return path
	}
	rest = strings.TrimPrefix(rest+"/", "data/")
	return strings.TrimSuffix(at+"/metadata/"+rest, "/")
}

// insertData puts data/ after the mount where version 2 wants it.
func insertData(at, path string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, at), "/")
	for _, there := range []string{"data/", "metadata/", "subkeys/"} {
		if strings.HasPrefix(rest, there) || rest == strings.TrimSuffix(there, "/") {
			return path
		}
	}
	return at + "/data/" + rest
}
