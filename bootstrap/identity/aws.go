package identity

import "net/http"

// AWS is an IAM principal: a user, or the role of an instance, task or pod. Its
// proof is a request to AWS's security token service that says who signed it,
// which Vault sends on: iam_http_request_method, iam_request_url,
// iam_request_body and iam_request_headers
// (https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method,
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html).
//
// The credentials are found as every program that uses AWS's module finds them:
// environment, shared files, a web identity token, the container's or the
// instance's role.
//
// AWS's module costs the binary megabytes, so it is compiled in only with
// -tags aws; without, Proof is a *plan.Problem with plan.CodeConfig.
type AWS struct {
	// Region is the one that Vault's sts_region names; "" is us-east-1 and the
	// global endpoint, which is where Vault sends the request unless it is told
	// otherwise. The region that credentials are got in is AWS's own setting.
	Region string

	STSEndpoint string            // as Vault's sts_endpoint; "": by Region
	ServerID    string            // as Vault's iam_server_id_header_value; "": none
	Transport   http.RoundTripper // to AWS's own services; nil: direct, without a proxy
}
