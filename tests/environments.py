"""Variables of the environment that some SDK reads, each set to what must not reach a request."""

from __future__ import annotations

from tests.providers import PROVIDERS

_OPENAI_ENVIRONMENT = {
    "OPENAI_API_KEY": PROVIDERS["openai"].other_key,
    "OPENAI_ADMIN_KEY": PROVIDERS["openai"].other_key,
    "OPENAI_ORG_ID": "org-hostile",
    "OPENAI_PROJECT_ID": "proj-hostile",
    "OPENAI_WEBHOOK_SECRET": "hostile",
    "OPENAI_BASE_URL": "http://hostile.invalid/v1",
    "OPENAI_CUSTOM_HEADERS": f"Authorization: Bearer {PROVIDERS['openai'].other_key}\nX-Hostile: 1\n"
    "OpenAI-Organization: org-hostile",
}
_ANTHROPIC_ENVIRONMENT = {
    "ANTHROPIC_API_KEY": PROVIDERS["anthropic"].other_key,
    "ANTHROPIC_AUTH_TOKEN": PROVIDERS["anthropic"].other_key,
    "ANTHROPIC_BASE_URL": "http://hostile.invalid",
    "ANTHROPIC_CUSTOM_HEADERS": f"Authorization: Bearer {PROVIDERS['anthropic'].other_key}\n"
    f"X-Api-Key: {PROVIDERS['anthropic'].other_key}\nX-Hostile: 1\nanthropic-workspace-id: wrkspc_hostile",
    "ANTHROPIC_PROFILE": "hostile",
    "ANTHROPIC_CONFIG_DIR": "/nowhere/hostile",
    "ANTHROPIC_WORKSPACE_ID": "wrkspc_hostile",
    "ANTHROPIC_ORGANIZATION_ID": "org_hostile",
    "ANTHROPIC_SERVICE_ACCOUNT_ID": "svac_hostile",
    "ANTHROPIC_SCOPE": "hostile",
    "ANTHROPIC_IDENTITY_TOKEN": "hostile",
    "ANTHROPIC_IDENTITY_TOKEN_FILE": "/nowhere/hostile",
    "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_hostile",
    "ANTHROPIC_WEBHOOK_SIGNING_KEY": "hostile",
    "ANTHROPIC_OPEN_TELEMETRY_PROPAGATION": "true",
    "ANTHROPIC_LOG": "debug",
}
_GOOGLE_ENVIRONMENT = {
    "GOOGLE_API_KEY": PROVIDERS["google"].other_key,
    "GEMINI_API_KEY": PROVIDERS["google"].other_key,
    "GOOGLE_GENAI_API_KEY": PROVIDERS["google"].other_key,
    "GOOGLE_GENAI_ACCESS_TOKEN": "ya29.hostile",
    "GOOGLE_GENAI_DEFAULT_HEADERS": '{"x-hostile": "1"}',
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_GENAI_USE_ENTERPRISE": "true",
    "GOOGLE_GENAI_API_VERSION": "v9hostile",
    "GOOGLE_GENAI_CLIENT_MODE": "replay",
    "GOOGLE_GENAI_REPLAYS_DIRECTORY": "/nowhere/hostile",
    "GOOGLE_GENAI_REPLAY_ID": "hostile",
    "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
    "GOOGLE_GENAI_DEBUG": "1",
    "GOOGLE_GEMINI_BASE_URL": "http://hostile.invalid",
    "GOOGLE_VERTEX_BASE_URL": "http://hostile.invalid",
    "GOOGLE_CLOUD_PROJECT": "hostile",
    "GOOGLE_CLOUD_LOCATION": "hostile",
    "GOOGLE_CLOUD_QUOTA_PROJECT": "hostile",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/hostile.json",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE": "true",
    "GOOGLE_API_USE_MTLS_ENDPOINT": "always",
}
HOSTILE = {
    **_OPENAI_ENVIRONMENT,
    **_ANTHROPIC_ENVIRONMENT,
    **_GOOGLE_ENVIRONMENT,
    "HTTP_PROXY": "http://hostile.invalid:1",
    "HTTPS_PROXY": "http://hostile.invalid:1",
    "ALL_PROXY": "http://hostile.invalid:1",
    "SSL_CERT_FILE": "/nowhere",
    "SSL_CERT_DIR": "/nowhere",
}
