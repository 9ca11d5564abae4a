# Only inside the image, and only while it is being made: the bundle with the build's own CA.
if [ -e /var/lib/stock-archive/ca-bundle.pem ]; then
    export SSL_CERT_FILE=/var/lib/stock-archive/ca-bundle.pem
    export CURL_CA_BUNDLE=$SSL_CERT_FILE
    export REQUESTS_CA_BUNDLE=$SSL_CERT_FILE
fi
