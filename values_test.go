package main

import (
	"fmt"
	"testing"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// What is made of a field as it is must be known by one name, whatever white space is
// around it, also after fields that came later, and in each round anew.
func TestKnownOnce(t *testing.T) {
	var k known
	made := func(text string) { k.addMade(bootstrap.Made{Name: "V", Content: secret.New([]byte(text))}) }
	for round := range 2 {
		k.addFields("secret/a", map[string]any{"pw": "one"})
		made("one\n")
		made("two")
		k.addFields("secret/b", map[string]any{"pw": " three "})
		for _, text := range []string{"three", "two", "", "four"} {
			made(text)
		}
		var got []string
		for _, v := range k.take() {
			got = append(got, v.Name+"="+string(v.Value))
		}
		want := "[secret/a#pw=one variable V=two secret/b#pw= three  variable V=four]"
		if fmt.Sprint(got) != want {
			t.Errorf("round %d: %s, want %s", round, got, want)
		}
	}
}
