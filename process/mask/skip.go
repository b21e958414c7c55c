package mask

import "fmt"

// The sizes above which forms are left out: an automaton needs 16 bytes for each
// byte of each form, and the encoded forms together are 20 times the value.
const (
	encodedMax = 16 << 10
	literalMax = 256 << 10
)

// doubt says why a value is not looked for, or not in every form, and whether it
// is not looked for at all.
func (s *Set) doubt(value []byte) (why string, nothing bool) {
	switch {
	case len(value) < s.min:
		return fmt.Sprintf("it has less than %d bytes", s.min), true
	case len(value) > literalMax:
		return fmt.Sprintf("it has more than %d bytes", literalMax), true
	case common(value):
		return "it is a common word or number", true
	case len(value) > encodedMax:
		return fmt.Sprintf("it has more than %d bytes: its encodings are not looked for", encodedMax), false
	}
	return "", false
}

// common reports whether hiding the text would make holes in any log: one
// character repeated, a number that counts or dates have, a word of every day.
func common(text []byte) bool {
	digits, same := true, true
	for _, c := range text {
		digits = digits && '0' <= c && c <= '9'
		same = same && c == text[0]
	}
	return same || digits && len(text) <= 8 || word(text)
}

// word reports whether the text is, in any case, a value that stands in
// configurations where a secret could.
func word(text []byte) bool {
	var lower [16]byte
	if len(text) > len(lower) {
		return false
	}
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(text)]) {
	case "true", "false", "null", "none", "nil", "undefined", "unknown", "empty", "default",
		"enabled", "disabled", "admin", "administrator", "root", "user", "username", "guest", "nobody",
		"password", "passwd", "secret", "secrets", "token", "changeme", "change-me", "example", "sample", "string",
		"test", "testing", "tester", "develop", "development", "staging", "production", "release", "master",
		"localhost", "127.0.0.1", "0.0.0.0", "localdomain", "http://", "https://",
		"service", "server", "client", "public", "private", "internal", "external",
		"postgres", "postgresql", "mysql", "mariadb", "mongodb", "redis", "rabbitmq", "elastic", "database",
		"vault", "kubernetes", "docker", "github", "gitlab", "jenkins", "application", "bearer", "basic":
		return true
	}
	return false
}
