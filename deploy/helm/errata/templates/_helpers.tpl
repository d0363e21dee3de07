{{- define "errata.name" -}}
{{- printf "%s-errata" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "errata.labels" -}}
app.kubernetes.io/name: errata
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{- define "errata.selector" -}}
app.kubernetes.io/name: errata
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* What every container of a role shares. Takes root, role, image (service or torch) and resources. */}}
{{- define "errata.container" -}}
name: {{ .role }}
image: "{{ index .root.Values.image .image }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
envFrom:
  - configMapRef: {name: {{ include "errata.name" .root }}-settings}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: ["ALL"]}
resources:
  {{- $resources := deepCopy .resources }}
  {{- if .gpus }}
  {{- $limits := merge (dict .gpuResource .gpus) (get $resources "limits" | default dict) }}
  {{- $_ := set $resources "limits" $limits }}
  {{- end }}
  {{- toYaml $resources | nindent 2 }}
{{- end -}}

{{/* What kubectl shows of a role. No liveness probe: `errata health` fails too while Redis or PostgreSQL are away, and a
     restart mends neither. A worker that hears nothing restarts by itself, and a process that dies is started again. */}}
{{- define "errata.alive" -}}
readinessProbe:
  exec: {command: ["errata", "health"]}
  initialDelaySeconds: 10
  periodSeconds: 60
  timeoutSeconds: 20
{{- end -}}

{{- define "errata.mounts" -}}
- {name: secrets, mountPath: /run/secrets/errata, readOnly: true}
- {name: tmp, mountPath: /tmp}
- {name: files, mountPath: /data}
{{- end -}}

{{- define "errata.volumes" -}}
- name: secrets
  secret: {secretName: {{ .Values.secretName }}, defaultMode: 0440}
- name: tmp
  emptyDir: {}
{{- end -}}

{{/* The home: scratch where datasets and models lie in an object store, else the volume that all roles share. */}}
{{- define "errata.files" -}}
- name: files
  {{- if .Values.files.url }}
  emptyDir: {}
  {{- else }}
  persistentVolumeClaim: {claimName: {{ include "errata.name" . }}-files}
  {{- end }}
{{- end -}}

{{- define "errata.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end -}}
