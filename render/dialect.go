package render

import (
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// dialect is what sets one template language apart from the others.
type dialect struct {
	left, right string // delimiters; "" is text/template's
	over        bool   // executed over data, see ExecuteOver
	named       bool   // a key that is not there is an error wherever it is named
	dash        string // how a key with a dash is written
	absent      string // what helps against a value that is not there
	table       func() *table
}

// dialectOf knows the languages. Their tables of functions are made when a
// template first wants them: each costs about a millisecond.
func dialectOf(d plan.Dialect) (dialect, bool) {
	switch d {
	case plan.DialectConsulTemplate:
		return dialect{
			dash:   `a key with a dash is written {{ index .Data.data "the-key" }}`,
			absent: "check the name of the field (KV version 2 has it below .Data.data), or give a value with default",
			table:  newTable,
		}, true
	case plan.DialectExternalSecrets:
		return dialect{
			over: true, named: true,
			dash:   `a key with a dash is written {{ index . "the-key" }}`,
			absent: "check the name of the key",
			table:  externalTable,
		}, true
	case plan.DialectBankVaults:
		return dialect{
			left: "${", right: "}", over: true,
			dash:   `a key with a dash is written ${ index . "the-key" }`,
			absent: "check the name of the key, or give a value with default",
			table:  bankTable,
		}, true
	}
	return dialect{}, false
}

// externalTable has the functions of the External Secrets Operator's templates
// (engine version 2): sprig's without the environment and the network, and its
// own.
func externalTable() *table {
	absent := map[string]string{}
	leaveOut(absent, "reads the environment, which the External Secrets Operator does not allow either", "env", "expandenv")
	leaveOut(absent, "asks the network, which the External Secrets Operator does not allow either", "getHostByName")
	return tableOf(absent, standardFunctions(), externalFunctions(), sprigOver())
}

// bankTable has the functions of bank-vaults' templates: sprig's. Those of its
// own that ask a cloud or read a file are told apart from a mistake.
func bankTable() *table {
	absent := map[string]string{}
	leaveOut(absent, "reads the environment, which a reference has beside it anyway", "env", "expandenv")
	leaveOut(absent, "asks the network; secretboot asks Vault", "getHostByName", "awskms", "gcpkms", "blob")
	leaveOut(absent, "reads a file; deliver the file's text by itself", "file")
	leaveOut(absent, "is for the configuration of a Vault server", "accessor")
	return tableOf(absent, standardFunctions(), sprigOver())
}

// sprigOver are sprig's functions for a template over data, under their own
// names, with those of the clock and of chance.
func sprigOver() []*function { return append(clockFunctions(), sprigFunctions(sprigText())...) }
