package render

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// printf is fmt.Sprintf without its error marks: where Sprintf would write
// "%!d(string=…)" it fails. Numbers of Vault go with the verbs of text (%s, %v,
// %q), of whole numbers and of fractions. A width given as an argument (%*d)
// must be written out.
func printf(format string, args ...any) (string, error) {
	probe := make([]any, len(args))
	values := make([]any, len(args))
	for i, arg := range args {
		probe[i], values[i] = blank(arg), arg
		if n, ok := arg.(json.Number); ok {
			probe[i], values[i] = numberFormat{n, true}, numberFormat{n, false}
		}
	}
	// Without %% and without the texts of the arguments, a percent sign can only
	// come from an error mark.
	if strings.Contains(fmt.Sprintf(strings.ReplaceAll(format, "%%", ""), probe...), "%") {
		return "", badData("the format and the values do not fit together",
			"check the number of values, and the verbs: %s for text, %d for a whole number, %v for all")
	}
	return fmt.Sprintf(format, values...), nil
}

// guardPrintf bounds the result: each verb may show the largest of the values,
// as wide as the format says. A format has few digits that are no width.
func guardPrintf(args []any) int {
	format, _ := args[0].(string)
	largest, width := 64, 0
	for _, arg := range args[1:] {
		largest = max(largest, size(arg))
	}
	for field := range strings.FieldsFuncSeq(format, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return maxOutput + 1
		}
		width += min(n, maxOutput)
	}
	const escaped = 4 // of %q and %x
	return min(maxOutput+1, len(format)+width+times(strings.Count(format, "%"), escaped*largest))
}

// blank gives a value of the same kind without text in it.
func blank(v any) any {
	switch v := v.(type) {
	case string:
		return ""
	case []string:
		return make([]string, len(v))
	case []any:
		out := make([]any, len(v))
		for i, elem := range v {
			out[i] = blank(elem)
		}
		return out
	case map[string]any:
		out := make([]any, 0, len(v))
		for _, elem := range v {
			out = append(out, "", blank(elem))
		}
		return out
	case json.Number:
		return json.Number("")
	}
	return v
}

// numberFormat formats a json.Number by the verb.
type numberFormat struct {
	n     json.Number
	probe bool // print nothing but the mark of a verb that does not fit
}

// Format implements fmt.Formatter.
func (n numberFormat) Format(f fmt.State, verb rune) {
	var v any = n.n.String()
	switch {
	case strings.ContainsRune("bcdoOxXU", verb):
		i, ok := new(big.Int).SetString(n.n.String(), 10)
		if !ok || len(n.n) > 400 {
			_, _ = fmt.Fprint(f, "%!")
			return
		}
		v = i
		if verb == 'c' || verb == 'U' {
			v = rune(i.Int64())
		}
	case strings.ContainsRune("eEfFgG", verb):
		x, err := n.n.Float64()
		if err != nil {
			_, _ = fmt.Fprint(f, "%!")
			return
		}
		v = x
	case !strings.ContainsRune("svq", verb):
		_, _ = fmt.Fprint(f, "%!")
		return
	}
	if !n.probe {
		_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), v)
	}
}
