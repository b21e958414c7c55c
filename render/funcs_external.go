package render

// externalFunctions are what the External Secrets Operator has beside sprig's.
func externalFunctions() []*function { return nil }
