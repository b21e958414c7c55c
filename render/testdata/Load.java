import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Properties;

/** Prints each property as name, value read from a stream, value from a Reader. */
class Load {
    public static void main(String[] args) throws Exception {
        Properties stream = new Properties();
        stream.load(new FileInputStream(args[0]));
        Properties reader = new Properties();
        reader.load(new InputStreamReader(new FileInputStream(args[0]), StandardCharsets.UTF_8));
        for (String name : stream.stringPropertyNames()) {
            System.out.println(base64(name) + " " + base64(stream.getProperty(name)) + " " + base64(reader.getProperty(name)));
        }
    }

    /** The dot keeps an empty text a word. */
    static String base64(String s) {
        return "." + Base64.getEncoder().encodeToString(s.getBytes(StandardCharsets.UTF_8));
    }
}
