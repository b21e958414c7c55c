//go:build aws

package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// defaultRegion is the one that the global endpoint belongs to.
const defaultRegion = "us-east-1"

// callerIdentity is the question that Vault sends on; it takes no other.
const callerIdentity = "Action=GetCallerIdentity&Version=2011-06-15"

// serverIDHeader ties the request to one Vault, so that another one that it is
// shown to cannot use it.
const serverIDHeader = "X-Vault-AWS-IAM-Server-ID"

// Proof gives iam_http_request_method, iam_request_url, iam_request_body and
// iam_request_headers. AWS accepts the signature for 15 minutes.
func (a AWS) Proof(ctx context.Context) (Proof, error) {
	if err := over(ctx, "the login aws"); err != nil {
		return nil, err
	}
	var ps plan.Problems
	to, err := a.endpoint(ctx)
	ps.Add(err)
	if strings.ContainsFunc(a.ServerID, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, What: "the server id of the login aws", Why: "has a space or an unprintable character in it",
			Fix: "give what Vault has as iam_server_id_header_value",
		})
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	credentials, err := a.credentials(ctx)
	if err != nil {
		return nil, err
	}
	headers, err := a.sign(ctx, to, credentials)
	if err != nil {
		return nil, err
	}
	encoded := func(b []byte) secret.Value { return secret.New(base64.StdEncoding.AppendEncode(nil, b)) }
	return Proof{
		"iam_http_request_method": secret.New([]byte(http.MethodPost)),
		"iam_request_url":         encoded([]byte(to)),
		"iam_request_body":        encoded([]byte(callerIdentity)),
		"iam_request_headers":     encoded(headers),
	}, nil
}

func (a AWS) region() string {
	if a.Region == "" {
		return defaultRegion
	}
	return a.Region
}

// endpoint gives the address that the request is signed for.
func (a AWS) endpoint(ctx context.Context) (string, error) {
	odd := func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '-' }
	if strings.ContainsFunc(a.Region, odd) {
		return "", &plan.Problem{
			Code: plan.CodeConfig, What: "the region of the login aws", Why: "is no region's name", Fix: "give it as in eu-central-1",
		}
	}
	if a.STSEndpoint != "" {
		address, err := base("the STS endpoint of the login aws", a.STSEndpoint, "https://sts.eu-central-1.amazonaws.com", false)
		return address + "/", err
	}
	e, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sts.EndpointParameters{
		Region: aws.String(a.region()), UseFIPS: aws.Bool(false), UseDualStack: aws.Bool(false),
		UseGlobalEndpoint: aws.Bool(a.Region == ""),
	})
	if err != nil {
		return "", &plan.Problem{
			Code: plan.CodeConfig, What: "the region of the login aws", Why: "AWS's module knows no STS endpoint for it",
			Fix: "check the region, or give the endpoint",
		}
	}
	return strings.TrimSuffix(e.URI.String(), "/") + "/", nil
}

// sign gives the headers of the signed request as JSON.
func (a AWS) sign(ctx context.Context, to string, credentials aws.Credentials) ([]byte, error) {
	bug := func(err error) error {
		return &plan.Problem{Code: plan.CodeBug, What: "the login aws", Why: "the request cannot be signed", Err: known(err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(callerIdentity))
	if err != nil {
		return nil, bug(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if a.ServerID != "" {
		req.Header.Set(serverIDHeader, a.ServerID)
	}
	sum := sha256.Sum256([]byte(callerIdentity))
	err = v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "sts", a.region(), time.Now())
	if err != nil {
		return nil, bug(err)
	}
	headers, err := json.Marshal(req.Header)
	if err != nil {
		return nil, bug(err)
	}
	return headers, nil
}

// credentials finds AWS credentials as AWS's own tools do.
func (a AWS) credentials(ctx context.Context) (aws.Credentials, error) {
	settings, err := config.LoadDefaultConfig(
		ctx, config.WithDefaultRegion(a.region()), config.WithHTTPClient(a.client(ctx)), config.WithLogger(logging.Nop{}),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = maxTries, maxWait })
		}),
	)
	if err == nil {
		var found aws.Credentials
		if found, err = settings.Credentials.Retrieve(ctx); err == nil {
			return found, nil
		}
	}
	if err := over(ctx, "the AWS credentials"); err != nil {
		return aws.Credentials{}, err
	}
	return aws.Credentials{}, awsProblem(err)
}

// awsProblem classifies why there are no credentials. What AWS's module says
// may hold the text of an answer, so it is not repeated.
func awsProblem(err error) *plan.Problem {
	p := &plan.Problem{
		Code: plan.CodeConfig, What: "the AWS credentials", Err: known(err), Why: "the AWS settings cannot be used, or lead to none",
		Fix: "check the AWS_… variables and the files below ~/.aws; for an authority of your own use SSL_CERT_FILE, not AWS_CA_BUNDLE",
	}
	var profile config.SharedConfigProfileNotExistError
	var op *smithy.OperationError
	var answer interface{ HTTPStatusCode() int } // of a service, or of the container's
	var send *smithyhttp.RequestSendError
	instance := errors.As(err, &op) && op.ServiceID == "ec2imds"
	switch {
	case errors.As(err, &profile):
		p.Why = "there is no such profile in the shared files"
	case errors.As(err, &answer) && answer.HTTPStatusCode() != 0:
		awsRefusal(p, answer.HTTPStatusCode(), instance)
	case instance:
		p.Why = "none were found, and the metadata service of EC2 does not answer"
		p.Fix = "give the pod, task or instance a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; " +
			"in a container on EC2 the hop limit of the metadata service must be 2"
	case errors.As(err, &send):
		p.Code, p.Why, p.Fix = plan.CodeUnavailable, "the service that gives them cannot be reached"+tries(maxTries), ""
	}
	return p
}

// awsRefusal says what a status of the service that gives credentials means.
func awsRefusal(p *plan.Problem, code int, instance bool) {
	status := " (status " + strconv.Itoa(code) + ")"
	switch {
	case passing(code):
		p.Code, p.Why, p.Fix = plan.CodeUnavailable, "the service that gives them cannot serve the request now"+status, ""
	case code >= 300 && code < 400:
		p.Code, p.Why = plan.CodeProtocol, "the answer is a redirect, which is not followed"
		p.Fix = "check the address of the service that gives them"
	case instance:
		p.Why, p.Fix = "the EC2 instance has none"+status, "give the instance a role"
	default:
		p.Code, p.Why = plan.CodeDenied, "the service that gives them refused"+status
		p.Fix = "check the role, its trust policy, and that the web identity token has not expired"
	}
}

// awsClient is how AWS's module reaches its services (aws.HTTPClient).
type awsClient func(*http.Request) (*http.Response, error)

// Do makes one try.
func (do awsClient) Do(req *http.Request) (*http.Response, error) { return do(req) }

// client sets the rules of this package for AWS's module: no redirect, bounded
// tries and answers, and no proxy to the metadata services of an instance, task
// or pod. When ctx ends, so does every try: the module itself would carry on
// behind our back, for whoever asks next.
func (a AWS) client(ctx context.Context) awsClient {
	return func(req *http.Request) (*http.Response, error) {
		via, limit := a.Transport, tryTimeout
		if via == nil {
			via = direct()
		}
		if isNear(req.URL.Hostname()) {
			via, limit = direct(), metadataTimeout
		}
		try, cancel := context.WithTimeout(req.Context(), limit)
		stop := context.AfterFunc(ctx, cancel)
		end := func() { stop(); cancel() }
		resp, err := via.RoundTrip(req.WithContext(try))
		if err == nil {
			resp.Body = boundedBody{io.LimitReader(resp.Body, maxBody), resp.Body, end}
			return resp, nil
		}
		end()
		if ctx.Err() != nil {
			err = &aws.RequestCanceledError{Err: err} // which is not tried again
		}
		return nil, err
	}
}

// boundedBody ends after so many bytes, which cuts a larger answer into one
// that cannot be read. Close ends the try.
type boundedBody struct {
	io.Reader
	body io.Closer
	end  func()
}

func (b boundedBody) Close() error {
	defer b.end()
	return b.body.Close()
}

// isNear reports whether a host is an address of this machine or of its
// metadata services: loopback, link-local (169.254.169.254 of EC2,
// 169.254.170.2 of ECS, 169.254.170.23 of EKS), or EC2's fd00:ec2::/32.
func isNear(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsLinkLocalUnicast() || netip.PrefixFrom(netip.MustParseAddr("fd00:ec2::"), 32).Contains(ip)
}
