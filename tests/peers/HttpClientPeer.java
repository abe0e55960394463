// Fetches one page with Apache's HttpClient 4.5, which has its own NTLM, and prints the status and the user that the server reports.
//
//     java -cp JARS HttpClientPeer.java URL DOMAIN USER PASSWORD

import org.apache.http.Header;
import org.apache.http.auth.AuthScope;
import org.apache.http.auth.NTCredentials;
import org.apache.http.client.CredentialsProvider;
import org.apache.http.client.config.AuthSchemes;
import org.apache.http.client.config.RequestConfig;
import org.apache.http.client.methods.CloseableHttpResponse;
import org.apache.http.client.methods.HttpGet;
import org.apache.http.impl.client.BasicCredentialsProvider;
import org.apache.http.impl.client.CloseableHttpClient;
import org.apache.http.impl.client.HttpClients;
import java.util.List;

public class HttpClientPeer {
    public static void main(String[] arguments) throws Exception {
        CredentialsProvider credentials = new BasicCredentialsProvider();
        credentials.setCredentials(
            AuthScope.ANY, new NTCredentials(arguments[2], arguments[3], "CLIENT", arguments[1].isEmpty() ? null : arguments[1]));
        RequestConfig configuration = RequestConfig.custom().setTargetPreferredAuthSchemes(List.of(AuthSchemes.NTLM)).build();
        try (CloseableHttpClient client = HttpClients.custom()
                .setDefaultCredentialsProvider(credentials).setDefaultRequestConfig(configuration).build();
             CloseableHttpResponse answer = client.execute(new HttpGet(arguments[0]))) {
            Header who = answer.getFirstHeader("X-Who");
            System.out.println(answer.getStatusLine().getStatusCode() + "|" + (who == null ? "" : who.getValue()));
        }
    }
}
