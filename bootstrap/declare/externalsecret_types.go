package declare

// What an ExternalSecret says, for object.fill. external-secrets.io/v1 and
// v1beta1 have the same fields as far as they are here.
//
// https://external-secrets.io/latest/api/spec/

type externalSpec struct {
	StoreRef        storeRef       `json:"secretStoreRef"`
	Target          externalTarget `json:"target"`
	RefreshPolicy   string         `json:"refreshPolicy" enum:"Periodic|CreatedOnce|OnChange"`
	RefreshInterval string         `json:"refreshInterval"`
	SyncWindows     any            `json:"syncWindows"`
	Data            []externalData `json:"data"`
	DataFrom        []externalFrom `json:"dataFrom"`
}

type storeRef struct {
	Name string `json:"name"`
	Kind string `json:"kind" enum:"SecretStore|ClusterSecretStore"`
}

type externalData struct {
	SecretKey string         `json:"secretKey"`
	RemoteRef remoteRef      `json:"remoteRef"`
	SourceRef externalSource `json:"sourceRef"`
}

type externalSource struct {
	StoreRef     storeRef `json:"storeRef"`
	GeneratorRef any      `json:"generatorRef"`
}

type remoteRef struct {
	Key        string `json:"key"`
	Property   string `json:"property"`
	Version    string `json:"version"`
	Metadata   string `json:"metadataPolicy" enum:"None|Fetch"`
	Conversion string `json:"conversionStrategy" enum:"Default|Unicode"`
	Decoding   string `json:"decodingStrategy" enum:"None|Base64|Base64URL|Auto"`
	NullByte   string `json:"nullBytePolicy" enum:"Ignore|Fail"`
}

type externalFrom struct {
	Extract   *remoteRef        `json:"extract"`
	Find      *externalFind     `json:"find"`
	Rewrite   []externalRewrite `json:"rewrite"`
	SourceRef externalSource    `json:"sourceRef"`
}

type externalFind struct {
	Path string `json:"path"`
	Name *struct {
		Regexp string `json:"regexp"`
	} `json:"name"`
	Tags       map[string]string `json:"tags"`
	Conversion string            `json:"conversionStrategy" enum:"Default|Unicode"`
	Decoding   string            `json:"decodingStrategy" enum:"None|Base64|Base64URL|Auto"`
	NullByte   string            `json:"nullBytePolicy" enum:"Ignore|Fail"`
}

type externalRewrite struct {
	Regexp *struct {
		Source string `json:"source" required:"true"`
		Target string `json:"target" required:"true"`
	} `json:"regexp"`
	Transform *struct {
		Template string `json:"template" required:"true"`
	} `json:"transform"`
	Merge *externalMerge `json:"merge"`
}

type externalMerge struct {
	Strategy       string   `json:"strategy" enum:"Extract|JSON"`
	Into           string   `json:"into"`
	ConflictPolicy string   `json:"conflictPolicy" enum:"Error|Ignore"`
	Priority       []string `json:"priority"`
	PriorityPolicy string   `json:"priorityPolicy" enum:"Strict|IgnoreNotFound"`
}

type externalTarget struct {
	Name           string            `json:"name"`
	CreationPolicy string            `json:"creationPolicy" enum:"Owner|Orphan|Merge|CreateOrMerge|None"`
	DeletionPolicy string            `json:"deletionPolicy" enum:"Retain|Delete|Merge"`
	Immutable      any               `json:"immutable"`
	Manifest       any               `json:"manifest"`
	Template       *externalTemplate `json:"template"`
}

type externalTemplate struct {
	Engine       string                 `json:"engineVersion"`
	Type         any                    `json:"type"`
	Metadata     any                    `json:"metadata"`
	MergePolicy  string                 `json:"mergePolicy" enum:"Replace|Merge"`
	Data         map[string]string      `json:"data"`
	TemplateFrom []externalTemplateFrom `json:"templateFrom"`
}

type externalTemplateFrom struct {
	Target    string       `json:"target"`
	Literal   *string      `json:"literal"`
	ConfigMap *templateRef `json:"configMap"`
	Secret    *templateRef `json:"secret"`
	Decoding  string       `json:"valuesDecodingStrategy" enum:"None|Base64|Base64URL|Auto"`
}

type templateRef struct {
	Name  string         `json:"name" required:"true"`
	Items []templateItem `json:"items" required:"true"`
}

type templateItem struct {
	Key string `json:"key" required:"true"`
	As  string `json:"templateAs" enum:"Values|KeysAndValues"`
}
