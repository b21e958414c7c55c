package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// of makes a module with files.
func of(t *testing.T, files map[string]string) module {
	t.Helper()
	m := module{path: "example.test/m", version: "v1.0.0", root: t.TempDir()}
	m.dirs = []string{filepath.Join(m.root, "a/b")}
	if err := os.MkdirAll(m.dirs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(m.root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

const mit = `MIT License

Copyright (c) 2026 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

// gpl is how a program says that it is under that licence.
const gpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more details.
`

func TestDocument(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string // in the error; "" is none
	}{
		"one that we may take":      {map[string]string{"LICENSE": mit}, ""},
		"with a notice":             {map[string]string{"LICENSE.md": mit, "NOTICE": "made by somebody"}, ""},
		"of a package":              {map[string]string{"COPYING": mit, "a/LICENSE-other": mit}, ""},
		"none":                      {nil, "no licence was found"},
		"a notice alone":            {map[string]string{"NOTICE": "made by somebody"}, "no licence was found"},
		"one that we may not take":  {map[string]string{"LICENSE": gpl}, "GPL-3.0-or-later is not among"},
		"that of one package alone": {map[string]string{"LICENSE": mit, "a/b/COPYING": gpl}, "GPL-3.0-or-later is not among"},
		"with another condition":    {map[string]string{"LICENSE": mit + strings.Repeat("You must not use it for anything that we would not like. ", 8)}, "only "},
		"our own words":             {map[string]string{"LICENCE": "Do as you please."}, "only 0 %"},
		"no text":                   {map[string]string{"LICENSE": "\xff\xfe"}, "it is no text"},
	} {
		text, err := document([]module{of(t, c.files)})
		if c.want == "" && (err != nil || !strings.Contains(string(text), "v1.0.0") || strings.Count(string(text), "Permission is hereby granted") != 1) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStale: a file that is not what would be written is told of, and left alone.
func TestStale(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	t.Chdir("..")
	if err := run(file, false); err != nil {
		t.Fatal(err)
	}
	if err := run(file, true); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(file, true); err == nil || !strings.Contains(err.Error(), "is stale; run make licences") {
		t.Error(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
}
