package render

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strconv"
	"strings"
)

// numberFunctions calculate. They are exact for whole numbers of any size; with
// a fraction on either side the result is a float64. Numbers of Vault may be
// given as they are. The order of arguments is consul-template's: what is piped
// in comes first, {{ 7 | subtract 2 }} is 5.
func numberFunctions() []*function {
	return []*function{
		{name: "add", fn: func(b, a any) (any, error) { return calculate(a, b, (*big.Rat).Add) }},
		{name: "subtract", fn: func(b, a any) (any, error) { return calculate(a, b, (*big.Rat).Sub) }},
		{name: "multiply", fn: func(b, a any) (any, error) { return calculate(a, b, (*big.Rat).Mul) }},
		{name: "divide", fn: divide},
		{name: "modulo", fn: modulo},
		{name: "minimum", fn: func(b, a any) (any, error) { return choose(a, b, -1) }},
		{name: "maximum", fn: func(b, a any) (any, error) { return choose(a, b, 1) }},
		{name: "parseBool", fn: parseBool},
		{name: "parseFloat", fn: func(s string) (float64, error) {
			return parseNumber(s, func() (float64, error) { return strconv.ParseFloat(s, 64) })
		}},
		{name: "parseInt", fn: func(s string) (int64, error) {
			return parseNumber(s, func() (int64, error) { return strconv.ParseInt(s, 10, 64) })
		}},
		{name: "parseUint", fn: func(s string) (uint64, error) {
			return parseNumber(s, func() (uint64, error) { return strconv.ParseUint(s, 10, 64) })
		}},
	}
}

// parseNumber gives 0 for empty text, as upstream.
func parseNumber[T any](s string, parse func() (T, error)) (T, error) {
	var zero T
	if s == "" {
		return zero, nil
	}
	v, err := parse()
	if err != nil { // strconv's error quotes the text
		return zero, badData("the value is not a number of this kind", "")
	}
	return v, nil
}

// parseBool gives false for empty text, as upstream.
func parseBool(s string) (bool, error) {
	if s == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, badData("the value is not true or false", "")
	}
	return v, nil
}

// rational gives the exact value of a number.
func rational(v any) (*big.Rat, bool) {
	if n, ok := v.(json.Number); ok {
		return rationalText(n.String())
	}
	switch rv := reflect.ValueOf(v); {
	case rv.CanInt():
		return new(big.Rat).SetInt64(rv.Int()), true
	case rv.CanUint():
		return new(big.Rat).SetUint64(rv.Uint()), true
	case rv.CanFloat():
		x := new(big.Rat).SetFloat64(rv.Float())
		return x, x != nil
	}
	return nil, false
}

// rationalText refuses what would take very long to expand, such as 1e999999999.
func rationalText(s string) (*big.Rat, bool) {
	const most = 400 // more than a float64 has
	digits, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	if exponent != "" {
		if e, err := strconv.Atoi(exponent); err != nil || e > most || e < -most {
			return nil, false
		}
	}
	if len(digits) > most {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// isWhole tells an integer from a number with a fraction by its form: 1.0 is
// none.
func isWhole(v any) bool {
	if n, ok := v.(json.Number); ok {
		return !strings.ContainsAny(n.String(), ".eE")
	}
	rv := reflect.ValueOf(v)
	return rv.CanInt() || rv.CanUint()
}

func operands(a, b any) (x, y *big.Rat, err error) {
	x, ok1 := rational(a)
	y, ok2 := rational(b)
	if !ok1 || !ok2 {
		return nil, nil, badData("one of the values is not a number", "use parseInt or parseFloat on text")
	}
	return x, y, nil
}

// number gives the result in the form that its operands have.
func number(x *big.Rat, whole bool) any {
	if !whole {
		f, _ := x.Float64()
		return f
	}
	if x.Num().IsInt64() {
		return x.Num().Int64()
	}
	return json.Number(x.Num().String())
}

func calculate(a, b any, op func(z, x, y *big.Rat) *big.Rat) (any, error) {
	x, y, err := operands(a, b)
	if err != nil {
		return nil, err
	}
	return number(op(new(big.Rat), x, y), isWhole(a) && isWhole(b)), nil
}

// divide gives a/b, cut off towards zero for whole numbers.
func divide(b, a any) (any, error) {
	x, y, err := operands(a, b)
	if err != nil {
		return nil, err
	}
	if y.Sign() == 0 {
		return nil, badData("division by zero", "")
	}
	if isWhole(a) && isWhole(b) {
		return number(new(big.Rat).SetInt(new(big.Int).Quo(x.Num(), y.Num())), true), nil
	}
	return number(new(big.Rat).Quo(x, y), false), nil
}

// modulo gives the rest of a/b, with the sign of a.
func modulo(b, a any) (any, error) {
	x, y, err := operands(a, b)
	if err != nil {
		return nil, err
	}
	if !isWhole(a) || !isWhole(b) {
		return nil, badData("modulo wants whole numbers", "")
	}
	if y.Sign() == 0 {
		return nil, badData("division by zero", "")
	}
	return number(new(big.Rat).SetInt(new(big.Int).Rem(x.Num(), y.Num())), true), nil
}

// choose gives the smaller (want -1) or the larger (want 1) as it was given.
func choose(a, b any, want int) (any, error) {
	x, y, err := operands(a, b)
	if err != nil {
		return nil, err
	}
	if x.Cmp(y) == want {
		return a, nil
	}
	return b, nil
}
