package identity

import (
	"context"
	"net/http"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Azure is a virtual machine of Azure with a managed identity. Its proof is
// jwt, an access token of the identity, and where the machine is:
// subscription_id, resource_group_name, and vmss_name when it belongs to a scale
// set, else vm_name: Vault looks at one of them only
// (https://developer.hashicorp.com/vault/api-docs/auth/azure#login,
// https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service).
type Azure struct {
	Endpoint string // of the metadata service; "": Azure's
	Resource string // for whom the token is, as Vault's auth/azure/config says; "": https://management.azure.com/

	// ClientID or ObjectID chooses among several identities; at most one of them.
	ClientID, ObjectID string
}

// Proof gives jwt, subscription_id, resource_group_name, and vmss_name or vm_name.
func (a Azure) Proof(ctx context.Context) (Proof, error) {
	var ps plan.Problems
	address, err := base("the address of Azure's metadata service", a.Endpoint, metadataAddress, false)
	ps.Add(err)
	if a.ClientID != "" && a.ObjectID != "" {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, What: "the managed identity", Why: "both a client id and an object id are given", Fix: "give one of them",
		})
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	proof, err := a.place(ctx, address)
	if err != nil {
		return nil, err
	}
	proof["jwt"], err = a.token(ctx, address)
	if err != nil {
		return nil, err
	}
	return proof, nil
}

// azureCall is a request to the metadata service. While the service itself is
// being updated it answers 404 or 410, for up to 70 s
// (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling),
// so both are tried again here.
func azureCall(what, url string) call {
	const identityFix = "give the machine a managed identity, and choose one by client_id or object_id if it has several"
	return call{
		what: what, who: "Azure's metadata service", method: http.MethodGet, url: url, timeout: metadataTimeout,
		header: map[string]string{"Metadata": "true"},
		passes: []int{http.StatusNotFound, http.StatusGone},
		fixes: map[int]string{
			0:                       "this login works on Azure's machines only; see that nothing between here and the metadata service blocks it",
			http.StatusBadRequest:   identityFix,
			http.StatusUnauthorized: identityFix,
			http.StatusForbidden:    "let this process use the metadata service",
			http.StatusNotFound:     "if it stays so, this is not an Azure machine, or its identity is missing",
		},
	}
}

// place tells where the machine is.
func (a Azure) place(ctx context.Context, address string) (Proof, error) {
	c := azureCall("the metadata of this Azure machine", address+"/metadata/instance?api-version=2021-02-01&format=json")
	var answer struct {
		Compute struct {
			Subscription  string `json:"subscriptionId"`
			ResourceGroup string `json:"resourceGroupName"`
			Machine       string `json:"name"`
			ScaleSet      string `json:"vmScaleSetName"`
		} `json:"compute"`
	}
	if err := c.ask(ctx, &answer); err != nil {
		return nil, err
	}
	at := answer.Compute
	proof := Proof{
		"subscription_id":     secret.New([]byte(at.Subscription)),
		"resource_group_name": secret.New([]byte(at.ResourceGroup)),
	}
	if at.ScaleSet != "" {
		proof["vmss_name"] = secret.New([]byte(at.ScaleSet))
	} else {
		proof["vm_name"] = secret.New([]byte(at.Machine))
	}
	for _, v := range proof {
		if v.Len() == 0 {
			return nil, c.foreign("does not say where the machine is").problem(c, "")
		}
	}
	return proof, nil
}

// token gets the identity's access token.
func (a Azure) token(ctx context.Context, address string) (secret.Value, error) {
	resource := a.Resource
	if resource == "" {
		resource = "https://management.azure.com/"
	}
	query := "?api-version=2018-02-01&resource=" + escape(resource)
	switch {
	case a.ClientID != "":
		query += "&client_id=" + escape(a.ClientID)
	case a.ObjectID != "":
		query += "&object_id=" + escape(a.ObjectID)
	}
	c := azureCall("the token of this Azure machine's identity", address+"/metadata/identity/oauth2/token"+query)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := c.ask(ctx, &answer); err != nil {
		return secret.Value{}, err
	}
	return c.jwt(answer.AccessToken)
}
