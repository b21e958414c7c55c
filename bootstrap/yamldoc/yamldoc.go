// Package yamldoc reads YAML as syntax trees, and says where a text is broken
// and how, in words that hold nothing of it. The library that it reads with
// quotes what it stumbles over, which may be a secret, and tells no column.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// SyntaxError is what is wrong with a text, and where.
type SyntaxError struct {
	Line, Col int    // from 1; Col counts characters
	Why       string // a clause
	Fix       string // what to do about it; may be empty
}

// Error gives the place and what is wrong.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Col, e.Why)
}

// Parse gives the root of each document in a text, but for those where nothing
// stands. Keys may be there twice, and an alias may stand for what it is in. The
// library refuses more than 10000 levels. The error is a *SyntaxError.
func Parse(text []byte) ([]*yaml.Node, error) {
	roots, err := parse(text)
	if err != nil {
		return nil, locate(text, err)
	}
	return roots, nil
}

func parse(text []byte) ([]*yaml.Node, error) {
	var roots []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			return roots, nil
		case err != nil:
			return nil, err
		case !isNothing(doc.Content[0]):
			roots = append(roots, doc.Content[0])
		}
	}
}

// isNothing reports whether no character stands where the node is.
func isNothing(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}
