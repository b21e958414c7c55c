package render

import (
	"time"

	"github.com/secretboot/secretboot/bootstrap/secret"
)

// response is an answer of Vault with the names, in the order, that its Go client
// has for the members (Secret in github.com/hashicorp/vault/api, which writes it
// without a newline at the end).
type response struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int64          `json:"lease_duration"` // seconds
	Renewable     bool           `json:"renewable"`
	Data          map[string]any `json:"data"`
	Warnings      []string       `json:"warnings"`
	Auth          *responseAuth  `json:"auth,omitempty"`
	Wrap          *responseWrap  `json:"wrap_info,omitempty"`
	MountType     string         `json:"mount_type,omitempty"`
}

type responseAuth struct {
	ClientToken      string            `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies"`
	Metadata         map[string]string `json:"metadata"`
	Orphan           bool              `json:"orphan"`
	EntityID         string            `json:"entity_id"`
	LeaseDuration    int64             `json:"lease_duration"` // seconds
	Renewable        bool              `json:"renewable"`
	MFARequirement   *struct{}         `json:"mfa_requirement"` // of a login only, which this never is
}

type responseWrap struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int64     `json:"ttl"` // seconds
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor"`
}

// writeResponse writes a whole answer as Vault's Go client and encoding/json do.
func writeResponse(s secret.Secret) ([]byte, *failure) {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	out := response{
		RequestID: s.RequestID, LeaseID: s.LeaseID, LeaseDuration: seconds(s.Lease), Renewable: s.Renewable,
		Data: s.Data.Reveal(), Warnings: s.Warnings, MountType: s.MountType,
	}
	if a := s.Auth; a != nil {
		out.Auth = &responseAuth{
			ClientToken: string(a.ClientToken.Reveal()), Accessor: a.Accessor, Policies: a.Policies, TokenPolicies: a.TokenPolicies,
			IdentityPolicies: a.IdentityPolicies, Metadata: a.Metadata, Orphan: a.Orphan, EntityID: a.EntityID,
			LeaseDuration: seconds(a.Lease), Renewable: a.Renewable,
		}
	}
	if w := s.Wrap; w != nil {
		out.Wrap = &responseWrap{
			Token: string(w.Token.Reveal()), Accessor: w.Accessor, TTL: seconds(w.TTL), CreationTime: w.CreationTime,
			CreationPath: w.CreationPath, WrappedAccessor: w.WrappedAccessor,
		}
	}
	if !allUTF8(out.Data) {
		return nil, badData("json cannot carry "+hasNotUTF8, "")
	}
	text, err := encodeJSON(out, "", true)
	if err != nil {
		return nil, badData("the answer cannot be written as JSON", "")
	}
	return []byte(text), nil
}
