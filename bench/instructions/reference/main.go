// Command reference is what instructions are measured against: it asks for 20
// secrets, one after another, and decodes the answers, with the standard library and
// nothing else. What a new Go or another processor changes, it changes here too.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
)

func main() {
	for i := range 20 {
		resp, err := http.Get(os.Getenv("VAULT_ADDR") + "/v1/secret/data/gate/" + strconv.Itoa(i))
		if err != nil {
			log.Fatalln("reference:", err)
		}
		var answer struct{ Data map[string]any }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Data) == 0 {
			log.Fatalln("reference: no secret:", err)
		}
		resp.Body.Close()
	}
}
