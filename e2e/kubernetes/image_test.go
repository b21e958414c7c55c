package kubernetes_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// image is one that is made here: no registry is asked for it. It is what `docker save`
// gives for an image from scratch.
type image struct {
	name       string
	files      map[string]string // path in the image -> path here
	entrypoint []string
	user       string
}

// images are those that the examples name, and the one of a pod's own container.
func images(app, secretboot string) []image {
	return []image{
		{"localhost/pause:1", map[string]string{"shop": app}, []string{"/shop", "pause"}, "65535:65535"},
		{"registry.example/shop:1", map[string]string{"shop": app}, []string{"/shop"}, ""},
		// As our Dockerfile makes it.
		{"registry.example/secretboot:1", map[string]string{"usr/local/bin/secretboot": secretboot}, []string{"/usr/local/bin/secretboot"}, "65532:65532"},
	}
}

// archive writes the image into a folder and gives the path.
func (i image) archive(t *testing.T, dir string) string {
	t.Helper()
	layer := i.layer(t)
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Entrypoint": i.entrypoint, "User": i.user},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	check(t, err)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{i.name}, "Layers": []string{"layer.tar"}}})
	check(t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add(t, w, "manifest.json", manifest)
	add(t, w, "config.json", config)
	add(t, w, "layer.tar", layer)
	check(t, w.Close())
	path := filepath.Join(dir, hex.EncodeToString(sum[:4])+".tar")
	write(t, path, b.String())
	return path
}

func (i image) layer(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for to, from := range i.files {
		text, err := os.ReadFile(from)
		check(t, err)
		add(t, w, to, text)
	}
	check(t, w.Close())
	return b.Bytes()
}

func add(t *testing.T, w *tar.Writer, name string, text []byte) {
	t.Helper()
	check(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text))}))
	_, err := w.Write(text)
	check(t, err)
}
